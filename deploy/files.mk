# deploy: example configurations, units, completion, man pages; the scripts that run from a clone.
dist_pkgdata_DATA += \
	deploy/conf/brokerd.properties deploy/conf/controllerd.properties \
	deploy/systemd/klamm-brokerd.service deploy/systemd/klamm-controllerd.service \
	deploy/completion/klamm.bash
dist_man_MANS += docs/man/klamm.1 docs/man/klamm-load.1 docs/man/klamm-sim.1 docs/man/brokerd.8 docs/man/controllerd.8
EXTRA_DIST += deploy/install-deps deploy/quickstart deploy/quickstart.py
