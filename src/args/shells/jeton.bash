# Completion of jeton in bash. jeton itself says what may follow.
_jeton() {
    local line="${COMP_LINE:0:COMP_POINT}" words current candidate kept=""
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    # bash replaces what stands behind the last = or : of a word.
    [[ $current == *[=:]* ]] && kept="${current%"${current##*[=:]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        COMPREPLY+=("${candidate#"$kept"}")
    done < <("${words[0]}" complete-values -- "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _jeton jeton
