echo before; kill -SEGV $$
