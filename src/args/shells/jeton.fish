# Completion of jeton in fish. jeton itself says what may follow.
function __jeton_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] complete-values -- $words[2..] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c jeton -f -a '(__jeton_complete)'
