#!/usr/bin/env bash
#SBATCH --job-name=stdbox
#SBATCH --array=0-49%16
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=00:30:00
#SBATCH --requeue
# Submitted with sbatch in a folder with jobs/*.json and reports/: each task of the array runs ten of the jobs. A task that is run again does
# only what is missing.
set -euo pipefail
jobs=(jobs/*.json)
for job in "${jobs[@]:SLURM_ARRAY_TASK_ID * 10:10}"; do
    report=reports/${job##*/}
    [ ! -s "$report" ] || continue
    # A report that the job could not be run is a result too; none means that stdbox was killed.
    stdbox <"$job" >"$report.part" || [ -s "$report.part" ]
    mv "$report.part" "$report"
done
