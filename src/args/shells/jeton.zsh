#compdef jeton
# Completion of jeton in zsh. jeton itself says what may follow.
_jeton() {
    local -a candidates
    local value about
    while IFS=$'\t' read -r value about; do
        candidates+=("${value//:/\\:}${about:+:$about}")
    done < <("${words[1]}" complete-values -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#candidates} )); then
        _describe 'jeton' candidates
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_jeton" ]; then
    _jeton "$@"
else
    compdef _jeton jeton
fi
