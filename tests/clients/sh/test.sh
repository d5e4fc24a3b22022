# shellcheck shell=sh disable=SC2016,SC2034,SC2059,SC2086,SC2089,SC2090,SC2094
# Tests of stdbox.sh, as TAP, by the shell that runs this. SHELL_UNDER_TEST is how another one like it is started, RESET_SIGNALS a command
# before it by which INT is not ignored in it.
here=$(cd "$(dirname "$0")" && pwd)
STDBOX=${STDBOX_BIN:?must name the binary}
export STDBOX
# The commands of the jobs are those of this PATH; below /tmp, which is hidden, nothing would be found.
work=$(mktemp -d)
TMPDIR=$work/temporary
export TMPDIR
mkdir "$TMPDIR"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$here/stdbox.sh"

number=0 failed=0
newline='
'
ok() {
    number=$((number + 1))
    echo "ok $number - $1"
}
not_ok() {
    number=$((number + 1))
    failed=$((failed + 1))
    echo "not ok $number - $1"
}
# is NAME GOT WANTED
is() {
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        not_ok "$1"
        printf '%s\n' "got:" "$2" "wanted:" "$3" | sed 's/^/# /'
    fi
}
box() { stdbox_run --read-only / --cwd / "$@"; }

# A command line that no other process has.
unique=900000000
next_sleep() { unique=$((unique + 1)) seconds=$unique$$; }
running() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q "[s]leep $seconds"; }
becomes() {
    tries=0
    until case $1 in running) running ;; *) ! running ;; esac do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || return 1
        sleep 0.05
    done
}

# ---- strings

is "strings become JSON" "$(stdbox_json_strings 'a"b\c/' "$newline" '' "$(printf '\001\177')" '$x `y` %s' 'é€😀')" \
    '"a\"b\\c/","\u000a","","\u0001\u007f","$x `y` %s","\u00e9\u20ac\ud83d\ude00"'
is "no strings become nothing" "$(stdbox_json_strings)" ''
is "what is not UTF-8 becomes base64" \
    "$(stdbox_json_strings "$(printf '\377')" "$(printf 'ab\200')" "$(printf '\300\200')" "$(printf '\355\240\200x')" "$(printf '\364\220\200\200yz')" "$(printf '\303')" "$(printf '\360\237\230')a")" \
    '{"base64":"/w=="},{"base64":"YWKA"},{"base64":"wIA="},{"base64":"7aCAeA=="},{"base64":"9JCAgHl6"},{"base64":"ww=="},{"base64":"8J+YYQ=="}'

set --
byte=1
while [ "$byte" -lt 256 ]; do
    # Alone and behind a letter; the x keeps a newline at the end.
    argument=$(printf "\\$(printf %03o "$byte")x")
    set -- "$@" "${argument%x}" "b$argument"
    byte=$((byte + 1))
done
box -- printf '%s\n' "$@" >got
printf '%s\n' "$@" >wanted
is "every byte arrives in an argument" "$(cmp got wanted && wc -c <got | tr -d ' ')" 1530

# ---- running

head -c 5000000 /dev/urandom >large
box -- cat <large >got
is "standard input and output are the caller's" "$? $(cmp got large && echo same)" '0 same'
is "standard error is the caller's" "$(box -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err

box -- sh -c 'exit 7'
is "the status is the command's" "$? $(stdbox_field /outcome) $(stdbox_field /exit_code)" '7 exited 7'
box -- sh -c 'kill -SEGV $$'
is "the status of a signal" "$? $(stdbox_field /outcome) $(stdbox_field /signal)" '139 signaled 11'
box -- sh -c 'exit 137'
is "a status above 128 is one" "$? $(stdbox_field /exit_code)" '137 137'
box -- sh -c 'exit 127'
is "and so is 127" "$? $(stdbox_field /exit_code)" '127 127'
stdbox_field /signal >got
is "null is nothing" "$? $(cat got)" '1 '

box --limit wall_time_ms=200 -- sleep 1000
is "a time-out" "$? $(stdbox_field /outcome) $(stdbox_field /limit)" '137 limit-exceeded wall-time'

box --env 'A=x y=z' --env B= --unset C -- sh -c 'echo "$A|${B-unset}|${C-unset}"' >got
is "variables" "$(cat got)" 'x y=z||unset'
SECRET=1 box --clear-env --env "PATH=$PATH" -- sh -c 'echo "${SECRET-unset}"' >got
is "no variables" "$(cat got)" unset

exec 3>kept 4>not-kept
box --fd 3 -- sh -c 'echo kept >&3; for n in 4 5 6 7 8 9; do (: >&$n) 2>/dev/null && echo "has $n"; done; :' >got
is "only a descriptor that is named is kept" "$(cat kept got)" kept
exec 3>&- 4>&-

box --capture -- printf 'a\000\377\n\n' >got
stdbox_bytes /stdout >bytes
printf 'a\000\377\n\n' >wanted
is "captured bytes come back" "$(cat got)$(cmp bytes wanted && echo same)" same
box --capture -- printf '%s' "é\"\\${newline}\$(x) %s 😀" >got
stdbox_bytes /stdout >bytes
is "captured text comes back" "$(cat bytes)" "é\"\\${newline}\$(x) %s 😀"
box --capture -- sh -c "head -c 300000 /dev/zero | tr '\\\\0' '\\\\n'"
stdbox_bytes /stdout >bytes
is "many newlines come back" "$(wc -c <bytes)" "$(printf '%s' "$(stdbox_field /stdout/bytes)")"
stdbox_bytes /nothing >bytes
is "bytes of nothing" "$? $(cat bytes)" '1 '

stdbox_run --cwd /tmp --results "$work/out" --pattern 'a*' --pattern b/c -- sh -c "mkdir b; echo 1 >a1; echo 2 >b/c; echo 3 >d; echo 4 >\"\$(printf 'a\\377')\""
is "results" "$? $(cd out && echo a1 b/* d) $(stdbox_field /results/files/0/path)" '0 a1 b/c d a1'
stdbox_bytes /results/files/1/path >got
is "a path that is not UTF-8" "$(od -A n -t x1 <got | tr -d ' ')" 61ff

box --field seccomp '"strict"' --field scratch '{"size_bytes": 1048576}' --id 'my "id"' -- true
is "other fields" "$? $(stdbox_field /id)" '0 my "id"'

box --report report.json -- sh -c 'exit 3'
is "a report in a file" "$?,$stdbox_report,$(stdbox_field /exit_code "$(cat report.json)")" '3,,3'

# ---- what is wrong

box --field limit '{"wall_time_ms":1}' -- true
is "an invalid job names the field" "$? $(stdbox_field /outcome) $(stdbox_field /error/code) $(stdbox_field /error/at)" \
    '2 invalid-job unknown-field /limit'
box -- no-such-command
is "a command that does not exist" "$? $(stdbox_field /outcome) $(stdbox_field /error/code)" '1 setup-failed command-not-found'
box --hidden '/no such folder' -- true
is "a directory that does not exist" "$? $(stdbox_field /error/code) $(stdbox_field /error/path)" '2 no-such-directory /no such folder'

for wrong in '--field strict true,"network":"host"' '--field strict' '--field strict {' '--field strict "' '--limit x' '--limit x=1,"y":2' '--limit =1' \
    '--fd 7' '--fd x' '--env NAME' '--unknown' 'true'; do
    # shellcheck disable=SC2086 # words are meant
    box $wrong -- true 2>errors
    is "refused: $wrong" "$? $(cut -c 1-11 <errors)$stdbox_report" '2 stdbox_run:'
done
stdbox_run 2>errors
is "refused: nothing" "$? $(cut -c 1-11 <errors)$stdbox_report" '2 stdbox_run:'
stdbox_run --env "$(printf '\377')=1" -- true 2>errors
is "refused: a name that is not UTF-8" "$? $stdbox_report" '2 '

STDBOX=$work/no-such-stdbox box -- true 2>/dev/null
is "no stdbox" "$?,$stdbox_report" '127,'
printf '#!/bin/sh\nkill -KILL $$\n' >dying
chmod +x dying
STDBOX=$work/dying box -- true 2>/dev/null
is "a stdbox that is killed" "$?,$stdbox_report" '137,'

# ---- fields

field_is() {
    got=$(stdbox_field "$2" "$1")
    is "field $2 of $1" "$? $got" "$3"
}
field_is ' {"a" : [ 1 , -2.5e+3 , { "b" : true } ] , "c" : { } }' /a/1 '0 -2.5e+3'
field_is '{"a":[1,-2.5e+3,{"b":true}],"c":{}}' /a/2/b '0 true'
field_is '{"a":[1,-2.5e+3,{"b":true}],"c":{}}' /a/2 '3 '
field_is '{"a":[1,-2.5e+3,{"b":true}],"c":{}}' /c '3 '
field_is '{"a":[1],"c":{}}' /a/1 '1 '
field_is '{"a":null}' /a '1 '
field_is '7' '' '0 7'
field_is '"x"' '' '0 x'
field_is '{"a":"{\"b\":1}","b":2}' /b '0 2'
field_is '{"a":"x\\","b":"\\\\\""}' /b '0 \\"'
field_is '{"a":"x","b":"[\"b\",{"}' /b '0 ["b",{'
field_is '{"x/y":{"m~n":1}}' /x/y/m~n '0 1'
field_is '{"a\"b":3}' '/a"b' '0 3'
field_is '{"a":"\u0041\u00e9\ud83d\ude00é%s\\n$x"}' /a '0 Aé😀é%s\n$x'
field_is '{"a":{"b":1},"b":2}' /b '0 2'
field_is '{"outcome":"x","error":{"outcome":"y"}}' /error/outcome '0 y'
field_is '{"a":""}' /a '0 '
for wrong in '' '{' '{"a":1' '{"a":1}}' '{"a":1,}' '{"a" 1}' '{a:1}' '{"a":01}' '{"a":+1}' '{"a":.5}' '{"a":1.}' '{"a":tru}' '[1 2]' '[1,]' '[,1]' '{"a":[}]' \
    '{"b":"\x"}' '{"b":"\u12g4"}' '{"b":"\\\x"}' '{"a":"x}' '{"a":"\x"}' '{"a":"\u12"}' '{"a":"\u12g4"}' '{"a":"\ud800"}' '{"a":"\udc00"}' '{"a":"\ud800\u0041"}' "{\"a\":\"$newline\"}" '{"a":1}x' '{} {}' \
    '"a" "b"' '{"a":1:2}' '{"a","b"}' '{"a":"b":"c"}'; do
    status=0
    stdbox_field /a "$wrong" >got || status=$?
    is "not JSON: $(printf '%s' "$wrong" | tr '\n' ' ')" "$status" 2
done
for wrong in A AA AAB= AB== AA==AAAA '!AAA' 'A\u0041AA'; do
    stdbox_bytes /a "{\"a\":{\"base64\":\"$wrong\"}}" >got
    is "not base64: $wrong" "$?" 2
done

# ---- what the caller's shell may be like

cat >strict-caller <<'EOF'
set -euCf
IFS=/0
. "$1/stdbox.sh"
trap 'echo ended' EXIT
if stdbox_run --read-only / --cwd / -- sh -c 'exit 5'; then echo wrong; else echo "$?"; fi
stdbox_field /exit_code
got=$(stdbox_run --read-only / --cwd / --limit wall_time_ms=10000 -- echo inside)
echo "$got"
stdbox_run --read-only / --cwd / -- cat <&-
stdbox_run --read-only / --cwd / -- sh -c 'exit 6'
echo unreachable
EOF
got=$($SHELL_UNDER_TEST strict-caller "$here" </dev/null 2>&1)
is "a strict caller" "$? $got" "6 5${newline}5${newline}inside${newline}ended"

# ---- signals

for signal in TERM INT HUP; do
    next_sleep
    # INT is ignored in what a script starts in the background, and cannot be trapped there: the group gets it, as from a terminal.
    cat >caller <<'EOF'
. "$1/stdbox.sh"
stdbox_run --read-only / --cwd / --limit grace_ms=5000 -- sh -c 'trap "echo ending; exit" TERM; echo begun >&2; sleep "$1" & wait' sh "$2"
echo unreachable
EOF
    $RESET_SIGNALS $SHELL_UNDER_TEST caller "$here" "$seconds" >got 2>errors &
    caller=$!
    becomes running || echo "# it does not begin: $(cat errors)"
    kill -s "$signal" "$caller"
    status=0
    wait "$caller" || status=$?
    case $signal in HUP) wanted=129 ;; INT) wanted=130 ;; *) wanted=143 ;; esac
    running && echo "# still running"
    is "$signal ends the job, then the caller" "$status $(cat got)$(running && echo running)" "$wanted ending"
done

next_sleep
cat >caller <<'EOF'
. "$1/stdbox.sh"
trap 'echo "my trap: $(stdbox_field /outcome)"' TERM
trap 'echo my end' EXIT
stdbox_run --read-only / --cwd / -- sleep "$2"
echo "status $?"
trap
EOF
$SHELL_UNDER_TEST caller "$here" "$seconds" >got 2>errors &
caller=$!
becomes running || echo "# it does not begin: $(cat errors)"
kill -s TERM "$caller"
wait "$caller"
is "traps of the caller are kept" "$(grep -v '^trap' got) $(grep -c '^trap.*TERM$' got)" "my trap: cancelled${newline}status 143${newline}my end 1"

next_sleep
printf '. "$1/stdbox.sh"\ntrap "echo usr" USR1\nstdbox_run --read-only / --cwd / -- sh -c "sleep 1; exit 5; sleep $2"\necho "$?"\n' >caller
$SHELL_UNDER_TEST caller "$here" "$seconds" >got &
caller=$!
becomes running || echo "# it does not begin: $(cat errors)"
for _ in 1 2 3; do
    kill -s USR1 "$caller"
    sleep 0.2
done
wait "$caller"
is "another signal that is trapped does not end the waiting" "$(grep -v usr got)" 5

# ---- nothing is left

is "no temporary file is left" "$(ls -A "$TMPDIR")" ''
echo "1..$number"
[ "$failed" -eq 0 ]
