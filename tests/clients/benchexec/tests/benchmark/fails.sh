echo failed >&2; exit 3
