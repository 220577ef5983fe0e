# One image for everything that runs in the system pods: the programs share their layers on disk and their pages in memory.
FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates conntrack ebtables ethtool iproute2 iptables kmod nftables \
 && rm -rf /var/lib/apt/lists/*
# kube-proxy calls iptables by name: this one picks the backend first.
COPY iptables /usr/local/sbin/
RUN cd /usr/local/sbin && chmod 0755 iptables \
 && for n in iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do ln -s iptables $n; done
COPY bin/ /usr/local/bin/
COPY pause /pause
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
