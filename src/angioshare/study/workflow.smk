# The jobs of a study. `jobs.json` beside the working directory says which there are; nothing else is read from outside.
import json
from pathlib import Path

PLAN = json.loads(Path("jobs.json").read_text(encoding="utf-8"))
JOBS = PLAN["jobs"]


def after(group):
    return lambda wildcards: [f"markers/{name}" for name in JOBS[f"{group}/{wildcards.point}"]["after"]]


def asks(group, key):
    return lambda wildcards: JOBS[f"{group}/{wildcards.point}"]["resources"][key]


rule all:
    input: [f"markers/{name}" for name in JOBS]


for group in PLAN["groups"]:

    rule:
        name: group
        input: after(group)
        output: touch(f"markers/{group}/{{point}}")
        log: f"logs/{group}/{{point}}.log"
        params:
            python=PLAN["python"], study=PLAN["study"], group=group
        threads: PLAN["cores"]
        resources:
            **{key: asks(group, key) for key in PLAN["resources"][group]}
        shell: "{params.python:q} -m angioshare study-job {params.study:q} {params.group:q} {wildcards.point:q} >{log:q} 2>&1"
