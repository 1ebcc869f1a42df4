#pragma once

#include <string>

#include "core/result.h"

namespace ioloop {

/** Names the file at `path` (links not followed) among all others of this system, while it lives.
 */
Result<std::string> fileIdentity(const std::string& path);

/** Unlinks `path` if it names that file still; ESTALE when somebody has put another there. */
Status unlinkPath(const std::string& path, const std::string& identity);

}  // namespace ioloop
