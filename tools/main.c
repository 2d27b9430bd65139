/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly: what people and scripts talk to mayflyd with. */
#include <locale.h>

#include "tools/commands.h"
#include "tools/output.h"

int
main(int argc, char **argv)
{
  mf_output_begin();
  setlocale(LC_ALL, "");
  g_set_prgname("mayfly");
  return mf_output_end(mf_command_main(mf_commands, argv));
}
