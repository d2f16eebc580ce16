# A static binary and the certificates to trust, nothing else: no shell, no package manager, no root.
#
#   docker build -t grapnel --build-arg VERSION=1.2.3 .
#   docker run --read-only -v grapnel:/data -v ./grapnel.yaml:/etc/grapnel.yaml:ro -p 8080:8080 grapnel
FROM golang:1.26 AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -X github.com/grapnel/grapnel/internal/cli.version=$VERSION" -o /grapnel ./cmd/grapnel \
 && mkdir -m 0700 /empty

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /grapnel /grapnel
# A volume that is mounted at /data for the first time takes its owner from here.
COPY --from=build --chown=65532:65532 /empty /data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/grapnel"]
CMD ["serve", "--config", "/etc/grapnel.yaml"]
