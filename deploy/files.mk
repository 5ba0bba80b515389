# deploy: example configurations, units, completion, man pages; the scripts that run from a clone.
dist_pkgdata_DATA += \
	deploy/conf/brokerd.properties deploy/conf/controllerd.properties \
	deploy/systemd/klamm-brokerd.service deploy/systemd/klamm-controllerd.service \
	deploy/completion/klamm.bash deploy/completion/_klamm
dist_man_MANS += docs/man/klamm.1 docs/man/klamm-load.1 docs/man/klamm-sim.1 docs/man/brokerd.8 docs/man/controllerd.8
EXTRA_DIST += deploy/install-deps deploy/quickstart deploy/quickstart.py

# Completions also where the shells look for them; bash wants the file to have the command's name.
bashcompdir = $(datadir)/bash-completion/completions
zshcompdir = $(datadir)/zsh/site-functions
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(bashcompdir)' '$(DESTDIR)$(zshcompdir)'
	$(INSTALL_DATA) '$(srcdir)/deploy/completion/klamm.bash' '$(DESTDIR)$(bashcompdir)/klamm'
	$(INSTALL_DATA) '$(srcdir)/deploy/completion/_klamm' '$(DESTDIR)$(zshcompdir)/_klamm'
uninstall-local:
	rm -f '$(DESTDIR)$(bashcompdir)/klamm' '$(DESTDIR)$(zshcompdir)/_klamm'
