FROM debian:bookworm-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates make \
 && rm -rf /var/lib/apt/lists/*
# The Go that this machine has.
ADD goroot.tar /usr/local/go/
# Where this machine gets modules; empty is Go's own default.
ARG GOPROXY=
ARG GOSUMDB=
ARG GONOSUMDB=
ARG GONOPROXY=
ARG GOPRIVATE=
ENV GOPROXY=$GOPROXY GOSUMDB=$GOSUMDB GONOSUMDB=$GONOSUMDB GONOPROXY=$GONOPROXY GOPRIVATE=$GOPRIVATE
ENV GOTOOLCHAIN=local GOPATH=/go PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN mkdir -p /go/src /go/bin && chmod -R 1777 /go && go version
WORKDIR /go
CMD ["bash"]
