# bash completion for klamm: source it, or install it as /usr/share/bash-completion/completions/klamm
_klamm() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=() w noun= verb=
	for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $w == -* ]] || words+=("$w")
	done
	noun=${words[0]-} verb=${words[1]-}
	local global="--bootstrap-server --json --connect-timeout-ms --help"
	if [[ -z $noun ]]; then
		COMPREPLY=($(compgen -W "topic produce consume status $global" -- "$cur"))
	elif [[ $noun == topic && -z $verb ]]; then
		COMPREPLY=($(compgen -W "create list describe delete" -- "$cur"))
	elif [[ $cur == -* ]]; then
		case $noun/$verb in
		topic/create) global+=" --partitions --replication-factor --config --if-not-exists" ;;
		topic/delete) global+=" --if-exists" ;;
		produce/*) global+=" --key-separator --header --partition --null-empty --acks --compression --no-idempotence --timeout-ms" ;;
		consume/*) global+=" --from-beginning --partition --offset --count --exit --format --isolation" ;;
		esac
		COMPREPLY=($(compgen -W "$global" -- "$cur"))
	elif [[ $noun == produce || $noun == consume || $verb == describe || $verb == delete ]]; then
		COMPREPLY=($(compgen -W "$(klamm topic list --connect-timeout-ms 500 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$cur"))
	fi
}
complete -F _klamm klamm
