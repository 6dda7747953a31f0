# One-line doors; the work is in .ci. `make run ARGS=--keep` passes words on.
.PHONY: deps run test lint bench bench-dns bench-hit bench-upstream bench-handover bench-takeover bench-drain bench-scale bench-polling fuzz image release test-arm64 clean build-trixie

deps:         ; @.ci/deps test
run:          ; @.ci/deps run && cmake --preset release -DLASTLIGHT_TESTS=OFF --log-level=WARNING && cmake --build build/release --target lastlight && /usr/bin/python3 tests/sandbox/demo.py --agent build/release/agent/lastlight $(ARGS)
test:         ; @.ci/test
lint:         ; @.ci/lint
bench:        ; @.ci/bench hit dns
bench-dns:    ; @.ci/bench dns $(ARGS)
bench-upstream: ; @.ci/bench upstream $(ARGS)
bench-hit:    ; @.ci/bench hit $(ARGS)
bench-drain:  ; @LASTLIGHT_DRAIN_LONG=1 LASTLIGHT_NO_SKIP=1 /usr/bin/python3 -m pytest tests/e2e/test_drain_scenes.py -q -p no:cacheprovider
bench-scale:  ; @.ci/bench scale $(ARGS)
bench-polling: ; @.ci/bench polling
bench-handover: ; @LASTLIGHT_HANDOVER_LONG=1 LASTLIGHT_NO_SKIP=1 /usr/bin/python3 -m pytest tests/e2e/test_kills_under_load.py tests/e2e/test_handover.py -q -s -p no:cacheprovider
bench-takeover: ; @LASTLIGHT_TAKEOVER_LONG=1 LASTLIGHT_NO_SKIP=1 /usr/bin/python3 -m pytest tests/e2e/test_takeover_kube_proxy.py -q -s -p no:cacheprovider $(ARGS)
fuzz:         ; @.ci/fuzz
image:        ; @.ci/image $(ARGS)
release:      ; @.ci/release $(ARGS)
test-arm64:   ; @.ci/cross arm64 test
build-trixie: ; @.ci/build-trixie
clean:        ; @rm -rf build
