# Made by cargo run --example manual.
_stdbox() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=run words
    case $before in
        --spec|--report|--facts|--with-facts) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --spec-fd|--report-fd|--workers) COMPREPLY=(); return ;;
    esac
    [[ $COMP_CWORD -lt 2 || ${COMP_WORDS[1]} == -* ]] || command=${COMP_WORDS[1]}
    case $command in
        run) words='--spec --spec-fd --report --report-fd --propagate --help' ;;
        check) words='--spec --spec-fd --report --report-fd --propagate --help' ;;
        plan) words='--spec --spec-fd --report --report-fd --text --facts --with-facts --help' ;;
        batch) words='--spec --spec-fd --report --report-fd --workers --help' ;;
        doctor) words='--report --report-fd --text --apparmor-profile --help' ;;
        schema) words='job report event doctor' ;;
        *) words= ;;
    esac
    [[ $COMP_CWORD -gt 1 ]] || words="run check plan batch doctor schema --version $words"
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _stdbox stdbox
