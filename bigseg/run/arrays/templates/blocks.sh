
# Blocks of the step @STEP@: task N computes those in line FIRST + N of @NAME@.blocks.
set -euo pipefail
@ENVIRONMENT@

line=$((${FIRST:-0} + ${@INDEX@:-1}))
blocks=$(sed -n "${line}p" @FOLDER@/@NAME@.blocks)
@COMMAND@ block @RUN@ --stage @STEP@ --blocks "$blocks"
