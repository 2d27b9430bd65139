/* SPDX-License-Identifier: Apache-2.0 */
/* TOML: numbers from the host, text in quotes. */
#include "tools/gitlab-toml.h"

#include "tools/document.h"

/* Above term-grace: the runner must not kill a stage that is ending its script. */
#define GRACEFUL_KILL 30
#define FORCE_KILL    10

static guint64
fit(guint64 all, guint64 each)
{
  return each > 0 ? all / each : G_MAXUINT64;
}

guint64
mf_gitlab_toml_capacity(MfJson *info, MfJson *template)
{
  MfJson *limits = mf_document_member(info, "limits");
  guint64 count = mf_document_uint(limits, "machines");
  if (template != NULL) {
    count =
        MIN(count, fit(mf_document_uint(limits, "memory"), mf_document_uint(template, "memory")));
    count = MIN(count, fit(mf_document_uint(limits, "cpus"), mf_document_uint(template, "cpus")));
  }
  return MAX(count, 1);
}

/* A basic string. (transfer full) */
static char *
quote(const char *text)
{
  g_autoptr(GString) out = g_string_new("\"");
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\')
      g_string_append_c(out, '\\');
    if ((guchar)*text < 0x20 || *text == 0x7f)
      g_string_append_printf(out, "\\u%04x", (guint)(guchar)*text);
    else
      g_string_append_c(out, *text);
  }
  g_string_append_c(out, '"');
  return g_strdup(out->str);
}

char *
mf_gitlab_toml_format(const MfGitlabConfig *config, const char *program, const char *socket,
                      const char *name, guint64 capacity)
{
  static const char *const stages[] = {"config", "prepare", "run", "cleanup"};
  g_autoptr(GString) out = g_string_new(NULL);
  g_autofree char *path = quote(program);
  g_autofree char *shown = quote(name);
  g_autofree char *shown_socket = socket != NULL ? quote(socket) : NULL;
  g_autofree char *more =
      socket != NULL ? g_strconcat(", \"--socket\", ", shown_socket, NULL) : g_strdup("");
  guint64 kill = MAX(GRACEFUL_KILL, config->term_grace + 20);
  g_string_append_printf(out,
                         "concurrent = %" G_GUINT64_FORMAT
                         "    # at the top of the file; more if it has other runners\n\n"
                         "[[runners]]\n"
                         "  name = %s\n"
                         "  url = \"https://gitlab.example.com\"    # yours\n"
                         "  token = \"glrt-...\"    # GitLab shows it when you create the runner\n"
                         "  executor = \"custom\"\n"
                         "  limit = %" G_GUINT64_FORMAT "    # machines that fit on this host\n"
                         "  builds_dir = \"%s\"\n"
                         "  cache_dir = \"%s\"\n"
                         "  [runners.custom]\n",
                         capacity, shown, capacity, config->builds_dir, config->cache_dir);
  for (guint i = 0; i < G_N_ELEMENTS(stages); i++)
    g_string_append_printf(out, "    %s_exec = %s\n    %s_args = [\"gitlab\", \"%s\"%s]\n",
                           stages[i], path, stages[i], stages[i], more);
  g_string_append_printf(out,
                         "    graceful_kill_timeout = %" G_GUINT64_FORMAT "\n"
                         "    force_kill_timeout = %d\n",
                         kill, FORCE_KILL);
  return g_strdup(out->str);
}
