add_custom_target(fuzzers)  # what `make fuzz` builds
# lastlight_fuzz(NAME LINK libraries...): tests/fuzz/NAME.cpp with its corpus in tests/fuzz/corpus/NAME. A plain runner
# replays the corpus in every test run; with LASTLIGHT_FUZZ (clang) fuzz_NAME is the libFuzzer program as well.
function(lastlight_fuzz name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  set(source "${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.cpp")
  set(corpus "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name}")
  add_executable(replay_${name} "${source}" "${CMAKE_SOURCE_DIR}/tests/fuzz/replay.cpp")
  target_link_libraries(replay_${name} PRIVATE lastlight_options ${ARG_LINK})
  add_test(NAME replay_${name} COMMAND replay_${name} "${corpus}")
  if(LASTLIGHT_FUZZ)
    add_executable(fuzz_${name} "${source}")
    target_link_libraries(fuzz_${name} PRIVATE lastlight_options ${ARG_LINK})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_${name})
  endif()
endfunction()

lastlight_fuzz(dns_query LINK lastlight_dnscache_core)
lastlight_fuzz(dns_answer LINK lastlight_dnscache_core)
lastlight_fuzz(dns_edns LINK lastlight_dnscache_core)
lastlight_fuzz(cache_image LINK lastlight_dnscache_core)
lastlight_fuzz(tcp_framing LINK lastlight_dnscache_transport)
