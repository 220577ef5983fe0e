FROM debian:bookworm-slim
ENV LANG=C.UTF-8
# EXTERNALLY-MANAGED makes pip refuse to install outside a virtual environment, which the official image does not do.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates netbase python3 python3-pip python3-venv tzdata \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
 && for n in python python3; do ln -s /usr/bin/python3 /usr/local/bin/$n; done \
 && for n in pip pip3; do ln -s /usr/bin/pip3 /usr/local/bin/$n; done
CMD ["python3"]
