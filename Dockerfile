# XFiles on one machine: `xf serve` in a container without a shell, as a user without rights, on a read-only root.
# docker build -t xfiles . && docker compose up -d; docs/self-hosting.md has the rest.

FROM rust:1.95-slim-bookworm AS build
# The compiler's version does not reach the image; Debian's security updates do.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package xfiles-cli --bin xf \
 && install -D target/release/xf /out/usr/local/bin/xf \
 && install -d -m 0700 -o 65532 -g 65532 /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr/local/bin/xf /usr/local/bin/xf
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
EXPOSE 8787 8788
# The public names come from the environment: without them a server that listens on all addresses refuses to start.
ENV XFILES_DATA=/data XFILES_LISTEN=0.0.0.0:8787 XFILES_S3_LISTEN=0.0.0.0:8788 XFILES_METRICS_LISTEN=127.0.0.1:8789
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["xf", "health", "--url", "http://127.0.0.1:8787"]
ENTRYPOINT ["xf"]
CMD ["serve"]
