#include "core/socket_file.h"

#include <cerrno>

#include "core/sys.h"

namespace ioloop {

Result<std::string> fileIdentity(const std::string& path) {
  struct stat status{};
  if (sys().lstat(path.c_str(), &status) < 0) return lastError("lstat");
  // Text, since overlayfs gives inodes more bits than a JavaScript number holds.
  return std::to_string(status.st_dev) + ':' + std::to_string(status.st_ino);
}

Status unlinkPath(const std::string& path, const std::string& identity) {
  const auto found = fileIdentity(path);
  if (!found) return found.error();
  if (*found != identity) return SysError{ESTALE, "unlink"};
  if (sys().unlink(path.c_str()) < 0) return lastError("unlink");
  return {};
}

}  // namespace ioloop
