lastlight_shell(lastlight_io_net SOURCES udp_socket.cpp tcp.cpp LINK lastlight_io)
