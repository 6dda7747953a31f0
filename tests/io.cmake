# The wrappers of the loop, HTTP and files. Named one by one: the sockets of unit/io are another program.
add_executable(test_io unit/io/loop_test.cpp unit/io/http_client_test.cpp unit/io/http_client_tls_test.cpp
               unit/io/http_server_test.cpp unit/io/poll_test.cpp unit/io/local_socket_test.cpp unit/io/cgroup_test.cpp unit/io/file_watch_test.cpp
               unit/io/address_events_test.cpp
               unit/io/memory_file_test.cpp unit/io/sealed_memory_test.cpp
               unit/io/driver_statistics_test.cpp)
target_link_libraries(test_io PRIVATE lastlight_catch lastlight_http_client lastlight_http_server lastlight_file_watch)
target_compile_options(test_io PRIVATE -Wno-parentheses)
add_test(NAME test_io COMMAND test_io WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
