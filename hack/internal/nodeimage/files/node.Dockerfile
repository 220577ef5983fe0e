# The node image: what kind's own base image and `kind build node-image` make, from Debian packages and compiled modules.
FROM debian:bookworm-slim
# bookworm on purpose: its systemd (252) still runs on cgroup v1.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      bash ca-certificates conntrack curl dbus e2fsprogs ebtables ethtool hostname iproute2 iptables jq kmod libseccomp2 mount \
      nftables pigz procps runc socat systemd systemd-sysv util-linux \
 && rm -rf /var/lib/apt/lists/* /usr/sbin/policy-rc.d \
 # Nothing of a real machine's boot: devices, file systems and terminals are the engine's business.
 && rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
      /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/basic.target.wants/* \
      /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* \
 && echo ReadKMsg=no >>/etc/systemd/journald.conf \
 && rm -f /etc/machine-id && mkdir -p /etc/kubernetes/manifests /etc/containerd/certs.d /etc/cni/net.d
# kind's files at the version in go.mod, changed by the program that calls this build, and ours.
COPY root/ /
RUN systemctl enable kubelet.service containerd.service undo-mount-hacks.service nodenet.service \
 && systemctl mask systemd-binfmt.service \
 && for n in kubeadm kubectl; do ln -s kubelet /usr/bin/$n; done \
 # Every container runs a hook that gives each node its own product name, and without the limits that ctr would set.
 && ctr oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' >/etc/containerd/cri-base.json
# The system pods' images, unpacked.
ADD images.tar /var/lib/containerd/
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
