// Which hosts a request may name. A page in a browser can reach a server on its reader's machine
// under a name of its own, once that name has been given the address 127.0.0.1 (DNS rebinding). The
// browser still says that name in the header Host. An address in it is no such name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mnm {

class AllowedHosts {
 public:
  // `address`: the IP address that the server listens on. If it is a loopback address, or if there
  // are `names`, then localhost, all addresses and `names` are allowed. Else every host is.
  // UsageError if one of `names` is no name and no IP address, or has a port.
  AllowedHosts(const std::string& address, const std::vector<std::string>& names);

  // Whether the value of the header Host is allowed, whatever port it has. An empty value is: no
  // browser leaves it out.
  bool allow(std::string_view host) const;

 private:
  bool all_ = true;
  std::vector<std::string> names_;  // in lower case
};

}  // namespace mnm
