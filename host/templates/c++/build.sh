#!/usr/bin/env bash
# One command builds the plugin. What it needs to know: eval "$(host plugin env)"
set -eu
cd "$(dirname "$0")"
: "${LIBTORCH:?is not set; run: eval \"\$(host plugin env)\"}"
# CXX may be two words, as in "ccache g++".
${CXX:-c++} -std=c++20 -O2 -shared -fPIC -I . -I "$LIBTORCH/include" plugin.cpp \
    -L "$LIBTORCH/lib" -ltorch_cpu -lc10 -o "{{library}}"
echo "built $PWD/{{library}}"
