# Do the notes hold every change they should, once, and nothing else? Computed from the change log in another way than
# notes.sh does it: with sort, join and comm instead of awk. Exit 0 when they agree; else the differences are printed.
set -eu
export LC_ALL=C
tab=$(printf '\t')
log=input/changes.tsv
notes=artifacts/RELEASE-NOTES.md
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

grep "${tab}revert${tab}" "$log" | cut -f 6 | sort >"$scratch/reverted"
grep -v -e "${tab}revert${tab}" -e "${tab}internal${tab}" "$log" | sort -t "$tab" -k 1,1 |
  join -t "$tab" -v 1 - "$scratch/reverted" >"$scratch/kept"

# Kind, area and subject of each entry, from the log and from the notes.
cut -f 4-6 "$scratch/kept" | sort -u >"$scratch/entries.expected"
kind='' area=''
while IFS= read -r line; do
  case $line in
  '## New') kind=feature ;;
  '## Mended') kind=fix ;;
  '## Faster') kind=performance ;;
  '## '*) kind='' ;;
  '### '*) area=${line#'### '} ;;
  '- '*) [ -z "$kind" ] || printf '%s\t%s\t%s\n' "$kind" "$area" "$(expr "X$line" : 'X- \(.*\) (T-[-T0-9, ]*)$')" ;;
  esac
done <"$notes" | sort >"$scratch/entries.found"

cut -f 1 "$scratch/kept" | sort >"$scratch/ids.expected"
tr -c 'T0-9-' '\n' <"$notes" | grep '^T-[0-9][0-9]*$' | sort >"$scratch/ids.found"

status=0
for what in entries ids; do
  comm -3 "$scratch/$what.expected" "$scratch/$what.found" >"$scratch/differences"
  [ -s "$scratch/differences" ] || continue
  echo "$what that are only expected, or (indented) only found:"
  cat "$scratch/differences"
  status=1
done
exit "$status"
