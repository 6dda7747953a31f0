# What `make bench-dns` and `make bench-hit` run, with LASTLIGHT_BENCH; the floors and the load are the end-to-end tests' too.
add_custom_target(benches)
# lastlight_bench(NAME SOURCES... LINK libraries...): tests/bench/NAME.cpp.
function(lastlight_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(bench_${name} bench/${name}.cpp ${ARG_SOURCES})
  target_link_libraries(bench_${name} PRIVATE lastlight_options ${ARG_LINK})
  add_dependencies(benches bench_${name})
endfunction()

lastlight_bench(echo LINK lastlight_base)
lastlight_bench(poll LINK lastlight_base)
lastlight_bench(load SOURCES bench/workload.cpp LINK lastlight_dnscache_core)
if(NOT LASTLIGHT_BENCH)
  return()
endif()
find_package(benchmark REQUIRED)
lastlight_bench(stub LINK lastlight_dnscache_core)
lastlight_bench(hit LINK lastlight_dnscache_core benchmark::benchmark)
