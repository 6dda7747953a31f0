// Privileges given up for good: by the worker at its start, and by a hook command before its exec.
#pragma once

namespace lastlight {

// No capability in any set (capabilities(7)), and none by any exec to come (PR_SET_NO_NEW_PRIVS), for root neither. The
// bounding set stays where CAP_SETPCAP is missing; nothing can be had from it then.
void drop_privileges();

}  // namespace lastlight
