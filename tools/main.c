/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly: what people and scripts talk to mayflyd with. */
#include <locale.h>

#include "tools/commands.h"

int
main(int argc, char **argv)
{
  setlocale(LC_ALL, "");
  g_set_prgname("mayfly");
  return mf_command_main(mf_commands, argv);
}
