# What every target is compiled with. One interface target, `lastlight_options`; modules link it through lastlight_core()
# (pure: no I/O library may be linked) and lastlight_shell() (owns handles of one library).

option(LASTLIGHT_WERROR "Warnings are errors" ON)
option(LASTLIGHT_TESTS "Build the tests" ON)
option(LASTLIGHT_FUZZ "Build libFuzzer targets (clang only)" OFF)
option(LASTLIGHT_BENCH "Build the benchmarks" OFF)
option(LASTLIGHT_COVERAGE "Instrument for gcov" OFF)
set(LASTLIGHT_SANITIZE "" CACHE STRING "Sanitizers, for example address,undefined")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_library(lastlight_options INTERFACE)
target_include_directories(lastlight_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_options(lastlight_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Wcast-align -Woverloaded-virtual -Wnull-dereference -Wdouble-promotion -Wformat=2 -Wimplicit-fallthrough
  $<$<BOOL:${LASTLIGHT_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(lastlight_options INTERFACE -Wduplicated-cond -Wlogical-op)
  # GCC 12 reports these inside its own headers at -O2 and with sanitizers (GCC bugs 105562, 105651, 107852).
  target_compile_options(lastlight_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow
                         -Wno-array-bounds -Wno-null-dereference -Wno-stringop-overread)
endif()

if(LASTLIGHT_SANITIZE)
  target_compile_options(lastlight_options INTERFACE -fsanitize=${LASTLIGHT_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
  target_link_options(lastlight_options INTERFACE -fsanitize=${LASTLIGHT_SANITIZE})
  if(LASTLIGHT_SANITIZE MATCHES "address")
    target_compile_definitions(lastlight_options INTERFACE _GLIBCXX_ASSERTIONS)
  endif()
endif()
if(LASTLIGHT_FUZZ)  # without it libFuzzer sees no coverage, and throws dice
  target_compile_options(lastlight_options INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(lastlight_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(LASTLIGHT_COVERAGE)
  target_compile_options(lastlight_options INTERFACE --coverage)
  target_link_options(lastlight_options INTERFACE --coverage)
endif()

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # -O3 is not worth its size here: the hot path is memcpy, hashing and system calls.
  string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    set(LASTLIGHT_BRANCHES -mbranch-protection=standard)
  else()
    set(LASTLIGHT_BRANCHES -fcf-protection)
  endif()
  target_compile_options(lastlight_options INTERFACE -fstack-protector-strong -fstack-clash-protection ${LASTLIGHT_BRANCHES}
                         -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -ffunction-sections -fdata-sections)
  target_link_options(lastlight_options INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--gc-sections
                      -Wl,--as-needed)
endif()

function(lastlight_core name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC lastlight_options ${ARG_LINK})
  set_property(GLOBAL APPEND PROPERTY LASTLIGHT_CORES ${name})
endfunction()

function(lastlight_shell name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC lastlight_options ${ARG_LINK} PRIVATE ${ARG_PRIVATE})
endfunction()
