# shellcheck shell=sh
# Runs commands in stdbox containers from a POSIX shell (dash, busybox, bash), with no tools but od, awk and mktemp:
#
#     . ./stdbox.sh
#     stdbox_run --read-only / --limit wall_time_ms=10000 -- sort --unique < names > sorted
#     case $(stdbox_field /outcome) in
#     exited) echo "sort ended with $(stdbox_field /exit_code)" ;;
#     *) echo "sort did not end by itself: $(stdbox_field /error/message || stdbox_field /limit)" >&2 ;;
#     esac
#
# stdbox_run [OPTION...] -- COMMAND [ARGUMENT...]
#
#     The command has the caller's standard input, output and error. The status is the command's, or 128 + its signal, as if
#     it had been run without stdbox; where it could not be run it is 1 or 2, and 127 where there is no stdbox. The variable
#     stdbox_report tells for certain: it holds the report, and is empty if there is none.
#
#     --hidden, --read-only, --overlay, --full-access DIRECTORY   what the command sees of it
#     --cwd DIRECTORY    --id TEXT    --root DIRECTORY
#     --env NAME=VALUE   --unset NAME   --clear-env   the environment, which is otherwise the caller's
#     --limit NAME=NUMBER     one of `limits`: wall_time_ms=10000 is the time-out
#     --fd N                  the command keeps this descriptor, 3 to 5; the others of one digit are needed here
#     --results DIRECTORY [--pattern PATTERN]...
#     --capture               standard output and error go into the report, see stdbox_bytes
#     --field NAME JSON       any other field of the job, as JSON: --field seccomp '"strict"'
#     --report FILE           the report goes there, and not into stdbox_report
#
#     STDBOX names the binary, otherwise it is looked up in PATH. HUP, INT and TERM end the job first; then they do what they
#     would have done, traps included (in a subshell: end it). A shell that is killed leaves its job to the job's own limits.
#     Redirect into stdbox_run rather than pipe: the end of a pipe is a subshell, whose variables are lost. Meant for scripts:
#     under job control a background process, as stdbox is one here, cannot read from the terminal.
#
# stdbox_field POINTER [REPORT]   the text, number or boolean at this JSON pointer of the report (/usage/wall_ns, /warnings/0/code).
#                                 Status 1: nothing there, or null. 2: not JSON. 3: an object or array.
# stdbox_bytes POINTER [REPORT]   the bytes of a stream or path there: stdbox_bytes /stdout > file. Status as above.
# stdbox_json_strings STRING...   the strings as JSON values with commas between them, for --field; what is not UTF-8 as
#                                 {"base64":...}.

stdbox_json_strings() {
    [ "$#" -gt 0 ] || return 0
    # As numbers, since awks differ in what they make of bytes beyond ASCII. An argument has no NUL.
    printf '%s\0' "$@" | LC_ALL=C od -A n -v -t u1 | LC_ALL=C awk '
        BEGIN {
            for (i = 32; i < 127; i++)
                character[i] = sprintf("%c", i)
            character[34] = "\\\""
            character[92] = "\\\\"
            digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        }
        { for (i = 1; i <= NF; i++) if ($i == 0) { value(); n = 0 } else byte[++n] = $i + 0 }

        function follows(i) { return i <= n && byte[i] >= 128 && byte[i] < 192 }

        # The length of the UTF-8 sequence that begins with byte i (RFC 3629), 0 if none does.
        function sequence(i,    first, second) {
            first = byte[i]
            second = i < n ? byte[i + 1] : 0
            if (first < 128) return 1
            if (first < 194 || first > 244 || !follows(i + 1)) return 0
            if (first < 224) return 2
            if (!follows(i + 2) || (first == 224 && second < 160) || (first == 237 && second > 159)) return 0
            if (first < 240) return 3
            if (!follows(i + 3) || (first == 240 && second < 144) || (first == 244 && second > 143)) return 0
            return 4
        }

        function value(    i, length_here) {
            if (values++) printf ","
            for (i = 1; i <= n; i += length_here)
                if (!(length_here = sequence(i))) {
                    base64()
                    return
                }
            printf "\""
            for (i = 1; i <= n; i += length_here) {
                length_here = sequence(i)
                put(i, length_here)
            }
            printf "\""
        }

        function put(i, count,    code) {
            if (byte[i] in character) {
                printf "%s", character[byte[i]]
                return
            }
            code = count == 1 ? byte[i] : count == 2 ? byte[i] - 192 : count == 3 ? byte[i] - 224 : byte[i] - 240
            for (; count > 1; count--)
                code = code * 64 + byte[++i] - 128
            if (code < 65536) {
                printf "\\u%04x", code
                return
            }
            code -= 65536
            printf "\\u%04x\\u%04x", 55296 + int(code / 1024), 56320 + code % 1024
        }

        function digit(number) { return substr(digits, int(number) % 64 + 1, 1) }

        function base64(    i, bits) {
            printf "{\"base64\":\""
            for (i = 1; i <= n; i += 3) {
                bits = byte[i] * 65536 + (i < n ? byte[i + 1] * 256 : 0) + (i + 1 < n ? byte[i + 2] : 0)
                printf "%s%s%s%s", digit(bits / 262144), digit(bits / 4096), (i < n ? digit(bits / 64) : "="), (i + 1 < n ? digit(bits) : "=")
            }
            printf "\"}"
        }
    '
}

stdbox_field() {
    _stdbox_text=$(_stdbox_find "$@") || return
    printf '%b\n' "$_stdbox_text"
}

stdbox_bytes() {
    _stdbox_pointer=$1
    [ "$#" -ge 2 ] || set -- "$1" "${stdbox_report-}"
    _stdbox_status=0
    _stdbox_text=$(_stdbox_find "$1" "$2") || _stdbox_status=$?
    if [ "$_stdbox_status" -eq 3 ]; then
        _stdbox_status=0
        _stdbox_text=$(_stdbox_find "$_stdbox_pointer/text" "$2") || _stdbox_status=$?
        if [ "$_stdbox_status" -eq 1 ]; then
            _stdbox_text=$(_stdbox_find "$_stdbox_pointer/base64" "$2" base64) || return
            _stdbox_status=0
        fi
    fi
    [ "$_stdbox_status" -eq 0 ] || return "$_stdbox_status"
    printf '%b' "$_stdbox_text"
}

# Prints the scalar as printf's %b wants it, so that newlines at its end and NUL characters survive the command substitution.
_stdbox_find() {
    [ "$#" -ge 2 ] || set -- "$1" "${stdbox_report-}"
    # Cut at the quotes: then every record is all inside or all outside of a string, and what is outside is short.
    printf '%s\n' "$2" | _stdbox_wanted=$1 LC_ALL=C awk -v form="${3-}" '
        BEGIN {
            RS = "\""
            wanted = ENVIRON["_stdbox_wanted"]
            expected = "value"
            status = 1
            escapes = "\"\\/bfnrt"
            split("042 134 057 010 014 012 015 011", meanings, " ")
            digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        }
        bad { next }
        # Every record but the last ends at a quote: what was outside before is inside after it.
        NR > 1 && !continues { inside = !inside; if (inside) begin_string() }
        inside { continues = string($0); next }
        { continues = 0; outside($0); after = expected }
        END {
            if (inside || depth > 0 || expected != "end") bad = 1
            exit bad ? 2 : status
        }

        function fail() { bad = 1 }

        # The pointer of the value that begins here.
        function here() {
            return depth == 0 ? "" : at[depth] "/" (type[depth] == "{" ? key[depth] : item[depth])
        }

        function scalar(text) {
            if (here() == wanted) {
                status = text == "null" ? 1 : 0
                if (status == 0) printf "%s", text
            }
            end_value()
        }

        function end_value() { expected = depth == 0 ? "end" : "comma" }

        function open_container(c,    pointer) {
            if (expected != "value" && expected != "first-item") return fail()
            pointer = here()
            if (pointer == wanted) status = 3
            depth++
            at[depth] = pointer
            type[depth] = c
            item[depth] = 0
            expected = c == "{" ? "first-key" : "first-item"
        }

        function close_container(c) {
            if (depth == 0 || type[depth] != (c == "}" ? "{" : "[") || (expected != "comma" && expected != (c == "}" ? "first-key" : "first-item")))
                return fail()
            depth--
            end_value()
        }

        function outside(text,    c) {
            while (!bad) {
                sub(/^[ \t\r\n]+/, "", text)
                if (text == "") return
                c = substr(text, 1, 1)
                if (c == "{" || c == "[") open_container(c)
                else if (c == "}" || c == "]") close_container(c)
                else if (c == ",") {
                    if (expected != "comma") return fail()
                    item[depth]++
                    expected = type[depth] == "{" ? "key" : "value"
                } else if (c == ":") {
                    if (expected != "colon") return fail()
                    expected = "value"
                } else if ((expected == "value" || expected == "first-item") && match(text, /^[-+.a-zA-Z0-9]+/)) {
                    c = substr(text, 1, RLENGTH)
                    if (c !~ /^(null|true|false|-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?)$/) return fail()
                    scalar(c)
                } else return fail()
                text = substr(text, length(c) + 1)
            }
        }

        function begin_string() {
            is_key = expected == "key" || expected == "first-key"
            if (!is_key && expected != "value" && expected != "first-item") return fail()
            shown = !is_key && here() == wanted
            if (is_key) key[depth] = ""
            if (shown) status = 0
            bits = have = padding = 0
        }

        function take(text) {
            if (is_key) key[depth] = key[depth] text
            else if (shown && form == "base64") decode(text)
            else if (shown) printf "%s", text
        }

        # A part of a string up to a quote; true if that quote was escaped, so that the string goes on.
        function string(text,    backslashes, parts, count, i, code, rest) {
            for (i = length(text); i > 0 && substr(text, i, 1) == "\\"; i--) backslashes++
            if (backslashes % 2) text = substr(text, 1, length(text) - 1)
            if (text ~ /[\001-\037]/) fail()
            count = split(text, parts, "\\")
            if (!is_key && !shown) {
                # Checked only, since most strings are not asked for, and output can be large.
                for (i = 2; i <= count; i++) {
                    if (parts[i] == "") i++
                    else if (parts[i] !~ /^u/ ? !index(escapes, substr(parts[i], 1, 1)) : parts[i] !~ /^u[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F]/) return fail()
                }
                count = 0
            }
            take(parts[1])
            for (i = 2; i <= count && !bad; i++) {
                if (parts[i] == "") {
                    escaped(92)
                    take(parts[++i])
                } else if (substr(parts[i], 1, 1) == "u") {
                    code = hexadecimal(substr(parts[i], 2, 4))
                    rest = substr(parts[i], 6)
                    if (code >= 55296 && code < 56320 && rest == "" && substr(parts[i + 1], 1, 1) == "u") {
                        rest = hexadecimal(substr(parts[i + 1], 2, 4))
                        if (rest < 56320 || rest > 57343) fail()
                        code = 65536 + (code - 55296) * 1024 + rest - 56320
                        rest = substr(parts[++i], 6)
                    } else if (code >= 55296 && code < 57344) fail()
                    escaped(code)
                    take(rest)
                } else {
                    code = index(escapes, substr(parts[i], 1, 1))
                    if (code == 0) return fail()
                    octal(meanings[code])
                    take(substr(parts[i], 2))
                }
            }
            if (backslashes % 2) {
                octal("042")
                return 1
            }
            if (shown && form == "base64" && ((have + padding) % 4 != 0 || bits != 0)) fail()
            if (is_key) expected = "colon"
            else end_value()
            return 0
        }

        function hexadecimal(text,    i, number, place) {
            if (length(text) < 4) fail()
            for (i = 1; i <= length(text); i++) {
                place = index("0123456789abcdef", tolower(substr(text, i, 1)))
                if (place == 0) fail()
                number = number * 16 + place - 1
            }
            return number
        }

        # A byte that %b is to make. In keys only those that JSON must escape occur, and a pointer has two of its own.
        function octal(digits_of) {
            if (is_key) key[depth] = key[depth] sprintf("%c", substr(digits_of, 1, 1) * 64 + substr(digits_of, 2, 1) * 8 + substr(digits_of, 3, 1))
            else if (shown && form == "base64") fail()
            else if (shown) printf "\\0%s", digits_of
        }

        function escaped(code) {
            if (code < 128) return octal(sprintf("%03o", code))
            if (code < 2048) octal(sprintf("%03o", 192 + int(code / 64)))
            else {
                if (code < 65536) octal(sprintf("%03o", 224 + int(code / 4096)))
                else {
                    octal(sprintf("%03o", 240 + int(code / 262144)))
                    octal(sprintf("%03o", 128 + int(code / 4096) % 64))
                }
                octal(sprintf("%03o", 128 + int(code / 64) % 64))
            }
            octal(sprintf("%03o", 128 + code % 64))
        }

        function decode(text,    i, place, size) {
            size = length(text)
            for (i = 1; i <= size; i++) {
                if (substr(text, i, 1) == "=" && i > size - 2) {
                    padding++
                    continue
                }
                place = index(digits, substr(text, i, 1))
                if (place == 0 || padding) return fail()
                bits = bits * 64 + place - 1
                have++
                if (have % 4 == 1) continue
                place = have % 4 == 2 ? 16 : have % 4 == 3 ? 4 : 1
                printf "\\0%03o", int(bits / place)
                bits %= place
            }
        }
    '
}

_stdbox_wrong() {
    printf 'stdbox_run: %s\n' "$1" >&2
    return 2
}

# One more value in a list that has commas between its values.
_stdbox_more() {
    eval "$1=\${$1:+\$$1,}\$2"
}

stdbox_run() {
    # One that the caller has closed cannot be passed on.
    if ! { { :; } 6<&0; } 2>/dev/null; then
        stdbox_run "$@" </dev/null
        return
    fi

    stdbox_report=''
    _stdbox_job='' _stdbox_directories='' _stdbox_set='' _stdbox_unset='' _stdbox_inherit=true _stdbox_limits='' _stdbox_fds=''
    _stdbox_results='' _stdbox_patterns='' _stdbox_output='"stdout":"inherit","stderr":"inherit"' _stdbox_file=''
    while :; do
        case ${1-} in
        --) break ;;
        --capture) _stdbox_output='' ;;
        --clear-env) _stdbox_inherit=false ;;
        --hidden | --read-only | --overlay | --full-access | --cwd | --id | --root | --env | --unset | --limit | --fd | --results | --pattern | --report | --field)
            [ "$#" -ge 2 ] || {
                _stdbox_wrong "$1 needs a value"
                return
            }
            case $1 in
            --hidden | --read-only | --overlay | --full-access)
                _stdbox_more _stdbox_directories "{\"path\":$(stdbox_json_strings "$2"),\"mode\":\"${1#--}\"}"
                ;;
            --cwd | --id | --root) _stdbox_more _stdbox_job "\"${1#--}\":$(stdbox_json_strings "$2")" ;;
            --env)
                _stdbox_name=$(stdbox_json_strings "${2%%=*}")
                case $2,$_stdbox_name in
                *=*,\"*) _stdbox_more _stdbox_set "$_stdbox_name:$(stdbox_json_strings "${2#*=}")" ;;
                *)
                    _stdbox_wrong '--env needs NAME=VALUE with a name in UTF-8'
                    return
                    ;;
                esac
                ;;
            --unset) _stdbox_more _stdbox_unset "$(stdbox_json_strings "$2")" ;;
            --limit)
                case ${2%%=*},${2#*=} in
                *[!a-z_]*,* | ,* | *, | *,*[!0-9.]*)
                    _stdbox_wrong "--limit needs NAME=NUMBER, not $2"
                    return
                    ;;
                esac
                _stdbox_more _stdbox_limits "\"${2%%=*}\":${2#*=}"
                ;;
            --fd)
                case $2 in
                [345]) _stdbox_more _stdbox_fds "$2" ;;
                *)
                    _stdbox_wrong "--fd needs 3, 4 or 5, not $2"
                    return
                    ;;
                esac
                ;;
            --results) _stdbox_results=$(stdbox_json_strings "$2") ;;
            --pattern) _stdbox_more _stdbox_patterns "$(stdbox_json_strings "$2")" ;;
            --report) _stdbox_file=$2 ;;
            --field)
                [ "$#" -ge 3 ] || {
                    _stdbox_wrong '--field needs NAME JSON'
                    return
                }
                _stdbox_status=0
                _stdbox_find '' "$3" >/dev/null || _stdbox_status=$?
                # Text that is no value could change the meaning of what stands around it.
                [ "$_stdbox_status" -ne 2 ] || {
                    _stdbox_wrong "the value of $2 is not JSON"
                    return
                }
                _stdbox_more _stdbox_job "$(stdbox_json_strings "$2"):$3"
                shift
                ;;
            esac
            shift
            ;;
        *)
            _stdbox_wrong "unknown option ${1:-(none)}; -- and a command must follow the options"
            return
            ;;
        esac
        shift
    done
    shift

    _stdbox_more _stdbox_job "\"argv\":[$(stdbox_json_strings "$@")]"
    _stdbox_more _stdbox_job '"stdin":"inherit"'
    [ -z "$_stdbox_output" ] || _stdbox_more _stdbox_job "$_stdbox_output"
    [ -z "$_stdbox_directories" ] || _stdbox_more _stdbox_job "\"directories\":[$_stdbox_directories]"
    [ -z "$_stdbox_limits" ] || _stdbox_more _stdbox_job "\"limits\":{$_stdbox_limits}"
    [ -z "$_stdbox_fds" ] || _stdbox_more _stdbox_job "\"fds\":[$_stdbox_fds]"
    _stdbox_more _stdbox_job "\"env\":{\"inherit\":$_stdbox_inherit,\"set\":{$_stdbox_set},\"unset\":[$_stdbox_unset]}"
    [ -z "$_stdbox_results" ] ||
        _stdbox_more _stdbox_job "\"results\":{\"directory\":$_stdbox_results${_stdbox_patterns:+,\"patterns\":[$_stdbox_patterns]}}"
    _stdbox_start
}

# Runs $_stdbox_job. It is in the background, because a shell runs no trap while it waits for a foreground process.
_stdbox_start() {
    _stdbox_temporary=$(mktemp) || return
    _stdbox_signal='' _stdbox_pid='' _stdbox_status=0 _stdbox_traps=''
    # $$ is the main shell's in a subshell too, and the traps that are shown there are not the subshell's own.
    # shellcheck disable=SC2016 # the inner shell's parent is meant
    _stdbox_self=$(exec sh -c 'echo "$PPID"')
    if [ "$_stdbox_self" = "$$" ]; then
        # Not in a command substitution: some shells have forgotten their traps there.
        trap >|"$_stdbox_temporary"
        _stdbox_traps=$(cat "$_stdbox_temporary")
    fi
    for _stdbox_name in HUP INT TERM; do
        # shellcheck disable=SC2064 # the name is that of now
        trap "_stdbox_signal=$_stdbox_name; kill -s TERM \"\$_stdbox_pid\" 2>/dev/null || :" "$_stdbox_name"
    done

    # shellcheck disable=SC2094 # both ends are meant to be open at once
    {
        # Both ends are open: nothing is left behind, however this ends.
        rm -f "$_stdbox_temporary"
        if [ -n "$_stdbox_file" ]; then
            "${STDBOX:-stdbox}" --propagate --spec-fd 7 --report "$_stdbox_file" <&6 6<&- 8<&- 9>&- &
        else
            "${STDBOX:-stdbox}" --propagate --spec-fd 7 --report-fd 9 <&6 6<&- 8<&- &
        fi
        _stdbox_pid=$!
        # A signal that came before there was a number.
        [ -z "$_stdbox_signal" ] || kill -s TERM "$_stdbox_pid" 2>/dev/null || :
        _stdbox_wait
        while [ "$_stdbox_status" -gt 128 ] && kill -0 "$_stdbox_pid" 2>/dev/null; do
            _stdbox_wait
        done
        # It may have ended between the two; a shell that knew its status already says 127 to another wait.
        if [ "$_stdbox_status" -gt 128 ]; then
            _stdbox_before=$_stdbox_status
            _stdbox_wait
            [ "$_stdbox_status" -ne 127 ] || _stdbox_status=$_stdbox_before
        fi
        stdbox_report=$(cat <&8)
    } 6<&0 7<<EOF 8<"$_stdbox_temporary" 9>|"$_stdbox_temporary"
{$_stdbox_job}
EOF

    [ -n "$_stdbox_pid" ] || rm -f "$_stdbox_temporary"
    trap - HUP INT TERM
    eval "$_stdbox_traps"
    [ -n "$_stdbox_signal" ] || return "$_stdbox_status"
    kill -s "$_stdbox_signal" "$_stdbox_self"
    # A trap of the caller's has run, and the script goes on.
    case $_stdbox_signal in
    HUP) return 129 ;;
    INT) return 130 ;;
    *) return 143 ;;
    esac
}

# The status of stdbox; above 128 also if a trap has ended the waiting, and not the process.
_stdbox_wait() {
    _stdbox_status=0
    wait "$_stdbox_pid" 2>/dev/null || _stdbox_status=$?
}
