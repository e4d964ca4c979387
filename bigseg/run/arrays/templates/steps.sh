
# @WHAT@
set -euo pipefail
@ENVIRONMENT@

@LINES@
