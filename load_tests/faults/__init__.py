"""The fault campaign: real Redis, real Apache Kafka and real worker processes, hurt in the ways of docs/faults.md.

`python -m load_tests.faults [--quick] [--only 1,2,5]` runs it. Each item is one function in the module of its group;
the oracle of most is a single-threaded pure replay of the topic (`oracle`).
"""
