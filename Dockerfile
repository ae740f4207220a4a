# The gateway alone: its executable, the libraries that it loads, and the certificates that it trusts. No shell, not root.
# Works with the classic builder and with BuildKit. To pin the builder: --build-arg BUILDER=rust@sha256:...
ARG BUILDER=rust:1-bookworm
FROM ${BUILDER} AS build
# A profile of Cargo.toml.
ARG PROFILE=release
WORKDIR /build

# Dependencies are a layer of their own, which changes only with the manifests: they are built for empty crates.
COPY Cargo.toml Cargo.lock ./
COPY bridges/api/Cargo.toml bridges/api/
COPY bridges/irc/Cargo.toml bridges/irc/
COPY bridges/matrix/Cargo.toml bridges/matrix/
COPY bridges/smtp/Cargo.toml bridges/smtp/
RUN mkdir -p src $(printf '%s/src ' bridges/*) \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs $(printf '%s/src/lib.rs ' bridges/*) \
    && cargo build --profile ${PROFILE} --locked --bin deskbridge

# The real ones are older than the empty ones just built, so that cargo has to be told that they are new.
COPY . .
RUN find src bridges -name '*.rs' -exec touch {} + \
    && cargo build --profile ${PROFILE} --locked --bin deskbridge

# Everything that the final image holds, at its place. /data is empty, and its owner's alone.
RUN mkdir -p /image/usr/bin /image/etc/ssl/certs /image/usr/share/doc/deskbridge /data/data \
    && cp target/${PROFILE}/deskbridge /image/usr/bin/ \
    && strip --strip-debug /image/usr/bin/deskbridge \
    && ldd /image/usr/bin/deskbridge | grep -o '/[^ ]*' | xargs -I '{}' cp -L --parents '{}' /image \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp LICENSE-* /image/usr/share/doc/deskbridge/ \
    && echo 'deskbridge:x:10001:10001:deskbridge:/data:/usr/sbin/nologin' >/image/etc/passwd \
    && echo 'deskbridge:x:10001:' >/image/etc/group \
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf \
    && chmod 0700 /data/data

FROM scratch
LABEL org.opencontainers.image.title="deskbridge" \
    org.opencontainers.image.description="Carries conversations between chat networks and a help desk's API inbox" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /data /
ENV PATH=/usr/bin \
    DESKBRIDGE_CONFIG=/etc/deskbridge/deskbridge.toml
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8600
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/bin/deskbridge", "healthcheck"]
ENTRYPOINT ["deskbridge"]
CMD ["run", "-c", "/etc/deskbridge/deskbridge.toml"]
