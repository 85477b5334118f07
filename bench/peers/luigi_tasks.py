"""The three workloads for Luigi. A task is done when its marker is there."""

import os
import time

import luigi

FOLDER, COUNT, LINKS = os.environ["BENCH_RECORDS"], int(os.environ["BENCH_COUNT"]), int(os.environ["BENCH_LINKS"])


class Body(luigi.Task):
    workload = luigi.Parameter()
    number = luigi.IntParameter()

    def requires(self):
        return Body("chain", self.number - 1) if self.workload == "chain" and self.number else []

    def output(self):
        return luigi.LocalTarget(f"{FOLDER}/markers/{self.workload}-{self.number}")

    def run(self):
        with open(f"{FOLDER}/{self.workload}", "a") as record:
            record.write(f"{time.time_ns()}\n")
        with self.output().open("w"):
            pass


class Independent(luigi.WrapperTask):
    def requires(self):
        return [Body("independent", number) for number in range(COUNT)]


class Chain(luigi.WrapperTask):
    def requires(self):
        return Body("chain", LINKS - 1)


class Backfill(luigi.WrapperTask):
    def requires(self):
        return [Body("backfill", number) for number in range(365)]
