"""Hooks of the wheel's build: what Cargo.toml says once, and the binary as the wheel's one script.

`STDBOX_RELEASE` names the binary; the default is what `cargo build --release` makes. The wheel is for that binary's architecture.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

try:
    import tomllib
except ImportError:  # before 3.11, where it is a dependency of hatchling
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[3]
RELEASE = PROJECT / "target/x86_64-unknown-linux-musl/release/stdbox"
MACHINES = {62: "x86_64", 183: "aarch64"}
INTERPRETER = 3


class CargoMetadata(MetadataHookInterface):
    """Version, description and licence stand in Cargo.toml only."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        package = tomllib.loads((PROJECT / "Cargo.toml").read_text())["package"]
        for key in ("version", "description", "license"):
            metadata[key] = package[key]


class BinaryScript(BuildHookInterface[Any]):
    """The binary itself is the command: a console script would start a Python interpreter first."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        binary = Path(os.environ.get("STDBOX_RELEASE", RELEASE)).resolve()
        machine = static_machine(binary)
        build_data["shared_scripts"][str(binary)] = "stdbox"
        build_data["pure_python"] = False
        # A static program needs no C library, so every Linux will do, old and new names of them, glibc's and musl's.
        platforms = ("manylinux2014", "manylinux_2_17", "musllinux_1_1")
        build_data["tag"] = "py3-none-" + ".".join(f"{platform}_{machine}" for platform in platforms)


def static_machine(binary: Path) -> str:
    """The architecture of a static executable; anything else would not run wherever the tag says."""
    if not os.access(binary, os.X_OK):
        raise SystemExit(f"{binary}: not an executable file (cargo build --release makes it; STDBOX_RELEASE names another)")
    image = binary.read_bytes()
    if image[:6] != b"\x7fELF\x02\x01":
        raise SystemExit(f"{binary}: not a 64-bit little-endian ELF file")
    machine = MACHINES.get(struct.unpack_from("<H", image, 18)[0])
    if machine is None:
        raise SystemExit(f"{binary}: made for another architecture than {', '.join(MACHINES.values())}")
    at, size, count = struct.unpack_from("<Q", image, 32) + struct.unpack_from("<HH", image, 54)
    if any(struct.unpack_from("<I", image, at + size * n)[0] == INTERPRETER for n in range(count)):
        raise SystemExit(f"{binary}: not static")
    return machine
