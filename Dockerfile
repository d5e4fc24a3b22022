# The compiler that was tested, whatever rust-toolchain.toml gives to who develops.
ARG RUST=1.95.0

# build: the program, for the architecture that the engine was asked for.
FROM docker.io/library/rust:${RUST}-slim-bookworm AS build
ARG RUST
ARG TARGETARCH
ENV RUSTUP_TOOLCHAIN=${RUST}
WORKDIR /stdbox
# By name, so that nothing gets in that was built outside.
COPY build.rs Cargo.lock Cargo.toml LICENSE README.md rust-toolchain.toml ./
COPY .cargo .cargo
COPY manual manual
COPY schema schema
COPY src src
COPY tests tests
RUN case "$TARGETARCH" in amd64 | '') target=x86_64 ;; arm64) target=aarch64 ;; *) exit 1 ;; esac \
    && rustup target add "$target-unknown-linux-musl" \
    && cargo install --locked --path . --root /dist --target "$target-unknown-linux-musl"

# check: the tests. Namespaces work in a build only where the builder allows them (buildx --allow security.insecure); the tests
# then say which of them they skip. `docker run` with the options of README runs them all.
FROM build AS check
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static gcc libc6-dev python3 util-linux \
    && rm -rf /var/lib/apt/lists/*
RUN rustup target add x86_64-unknown-linux-musl && rustup component add rustfmt clippy
RUN cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked --lib
CMD ["cargo", "test", "--locked"]

# dist: the program and nothing else. COPY --from=…/stdbox /stdbox /usr/local/bin/stdbox
FROM scratch AS dist
COPY --from=build /dist/bin/stdbox /stdbox
ENTRYPOINT ["/stdbox"]
