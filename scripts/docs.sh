#!/usr/bin/env bash
# Builds the documentation as a site, build/docs/index.html. Whatever Sphinx warns of is an error: a link that leads
# nowhere, a docstring that cannot be read, a page that no other one leads to. Arguments go to Sphinx.
set -euo pipefail
# shellcheck source=prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" docs

python -m sphinx -b html -q -E -a -W --keep-going "$@" docs build/docs
echo "build/docs/index.html"
