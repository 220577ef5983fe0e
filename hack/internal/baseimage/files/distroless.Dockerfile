FROM debian:bookworm-slim AS build
LABEL dev.kdev.offline.stage=build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates netbase tzdata
RUN mkdir -p /nonroot /out/etc/ssl/certs /out/home /out/root /out/tmp /out/usr/share /out/var/lib /out/var/tmp /out/run /out/proc /out/dev /out/sys \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ && cp -r /usr/share/zoneinfo /out/usr/share/ && rm -rf /out/usr/share/zoneinfo/right \
 && cp -L /etc/os-release /etc/protocols /etc/services /out/etc/ \
 && printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >/out/etc/passwd \
 && printf 'root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n' >/out/etc/group \
 && printf 'passwd: files\ngroup: files\nhosts: files dns\n' >/out/etc/nsswitch.conf \
 && chmod 1777 /out/tmp /out/var/tmp && chmod 0700 /out/root
FROM scratch
COPY --from=build /out /
COPY --from=build --chown=65532:65532 /nonroot /home/nonroot
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
