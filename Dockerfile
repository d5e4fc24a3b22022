# check: builds and tests. Namespaces work in a build only where the builder allows them (buildx --allow
# security.insecure); the tests then say which of them they skip. `docker run` with the options of README runs them all.
FROM rust:1.95-slim-bookworm AS check
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static gcc libc6-dev python3 util-linux \
    && rm -rf /var/lib/apt/lists/*
RUN rustup target add x86_64-unknown-linux-musl && rustup component add rustfmt clippy
WORKDIR /stdbox
COPY . .
RUN cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked --lib
RUN cargo build --locked --release
CMD ["cargo", "test", "--locked"]

# dist: the binary and nothing else. COPY --from=…/stdbox /stdbox /usr/local/bin/stdbox
FROM scratch AS dist
COPY --from=check /stdbox/target/x86_64-unknown-linux-musl/release/stdbox /stdbox
ENTRYPOINT ["/stdbox"]
