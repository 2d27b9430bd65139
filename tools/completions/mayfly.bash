# SPDX-License-Identifier: Apache-2.0
# Completion of mayfly for bash: mayfly itself knows what can come next.
_mayfly() {
  local answer
  answer=$(mayfly complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
  if [ "$answer" = "@file" ]; then
    compopt -o default
    COMPREPLY=()
    return 0
  fi
  mapfile -t COMPREPLY <<<"$answer"
  [ -n "$answer" ] || COMPREPLY=()
}
complete -F _mayfly mayfly
