#!/usr/bin/env python3
"""with_dask.py FOLDER: runs FOLDER/jobs/*.json on a Dask cluster of two worker processes, into FOLDER/reports."""

import subprocess
import sys
from pathlib import Path

from distributed import Client, LocalCluster


def run(job: bytes) -> bytes:
    # The job ends with its worker, however that ends.
    report = subprocess.run(["setpriv", "--pdeathsig", "TERM", "stdbox"], input=job, stdout=subprocess.PIPE).stdout
    if not report:
        raise RuntimeError("stdbox was killed")
    return report


def main() -> None:
    folder = Path(sys.argv[1])
    jobs = sorted((folder / "jobs").glob("*.json"))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        # A worker that dies is replaced and its job run again; so is a job whose stdbox was killed.
        reports = client.map(run, [job.read_bytes() for job in jobs], pure=False, retries=2)
        for job, report in zip(jobs, reports):
            (folder / "reports" / job.name).write_bytes(report.result())


if __name__ == "__main__":
    main()
