FROM debian:bookworm-slim AS build
LABEL dev.kdev.offline.stage=build
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
RUN mkdir -p /out/bin /out/etc /out/home /out/root /out/tmp /out/var/spool/mail /out/usr/sbin \
 && chmod 1777 /out/tmp && cp /bin/busybox /out/bin/ \
 && for n in $(busybox --list); do [ $n = busybox ] || ln -s busybox /out/bin/$n; done \
 && printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >/out/etc/passwd \
 && printf 'root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n' >/out/etc/group
FROM scratch
COPY --from=build /out/ /
CMD ["sh"]
