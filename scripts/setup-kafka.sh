#!/usr/bin/env bash
# Fetches Apache Kafka from Maven Central into .cache/kafka/VERSION; integration tests and benchmarks start it there
# (tests/support/kafka.py). Needs Java 17 or later and Maven.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' scripts/kafka/pom.xml)
jars=.cache/kafka/$version
if [ -e "$jars/.complete" ] && command -v java >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && ! { command -v java && command -v mvn; } >/dev/null; then
    echo "installing Java and Maven with apt-get" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends default-jre-headless maven >&2
fi
for command in java mvn; do
    if ! command -v "$command" >/dev/null; then
        echo "$command is missing and could not be installed: install Java 17 or later and Maven (Debian, Ubuntu: packages default-jre-headless and maven; macOS: brew install openjdk maven)" >&2
        exit 1
    fi
done

echo "fetching Apache Kafka $version from Maven Central" >&2
rm -rf "$jars"
mkdir -p "$jars"
if ! timeout 900 mvn --batch-mode --quiet --file scripts/kafka/pom.xml \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies "-DoutputDirectory=$PWD/$jars" >&2; then
    echo "Maven could not fetch Apache Kafka $version: is Maven Central, or a mirror of it in ~/.m2/settings.xml, in reach?" >&2
    exit 1
fi
touch "$jars/.complete"
