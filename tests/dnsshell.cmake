# Transport of DNS over real sockets on loopback, and the pure parts it is made of.
lastlight_test(test_dnsshell FOLDERS unit/dnsshell LINK lastlight_dnscache)
add_executable(test_io_net unit/io/udp_socket_test.cpp unit/io/tcp_test.cpp)
target_link_libraries(test_io_net PRIVATE lastlight_catch lastlight_io_net)
target_compile_options(test_io_net PRIVATE -Wno-parentheses)
add_test(NAME test_io_net COMMAND test_io_net)
