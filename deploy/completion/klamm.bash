# bash completion for klamm: nouns, verbs, options, and the names of topics, groups, brokers and configurations of the cluster that
# --bootstrap-server or KLAMM_BOOTSTRAP names. Installed as share/bash-completion/completions/klamm, or: source this file.
_klamm() {
	local cur=${COMP_WORDS[COMP_CWORD]} word
	COMPREPLY=()
	[[ $cur == = ]] && cur=
	word=${COMP_WORDS[COMP_CWORD - 1]}
	[[ $word == = ]] && word=${COMP_WORDS[COMP_CWORD - 2]}
	if [[ $word == --from-file ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
	fi
	# klamm knows its own words; names are only compared and quoted here, never evaluated
	while IFS=$'\t' read -r word _; do
		if [[ $word == "$cur"* ]]; then
			COMPREPLY+=("$(printf %q "$word")")
		fi
	done < <("${COMP_WORDS[0]}" __complete "$COMP_CWORD" "${COMP_WORDS[@]:0:COMP_CWORD}" "$cur" 2>/dev/null)
	if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then
		compopt -o nospace 2>/dev/null
	fi
}
complete -F _klamm klamm
