/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly complete: what the word that is being typed could be, one a line, for the shells'
 * completion. "@file" says that names of files are wanted. Everything comes from the table and from
 * mayflyd, so completion knows what this program knows.
 */
#include <stdio.h>
#include <string.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"

static void
offer(const char *word, const char *typed)
{
  if (word != NULL && g_str_has_prefix(word, typed))
    puts(word);
}

/* @list: the path and member of an answer; @key: what names each of them. Silent when mayflyd is
 * not there. */
static void
offer_named(const MfCommon *common, const char *path, const char *list, const char *key,
            const char *typed)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", path, NULL, NULL);
  MfJson *items = mf_document_member(answer, list);
  for (gsize i = 0; i < mf_document_count(items); i++)
    offer(mf_document_text(mf_document_item(items, i), key), typed);
}

static void
offer_kind(const MfCommon *common, const char *kind, const char *typed)
{
  if (g_strcmp0(kind, "job") == 0)
    offer_named(common, "/v1/jobs?state=all", "jobs", "id", typed);
  else if (g_strcmp0(kind, "template") == 0)
    offer_named(common, "/v1/templates", "templates", "name", typed);
  else if (g_strcmp0(kind, "image") == 0)
    offer_named(common, "/v1/images", "images", "ref", typed);
  else if (g_strcmp0(kind, "file") == 0)
    puts("@file");
}

/* The next word of every command's name that begins with the @count words before. */
static void
offer_commands(char *const *words, guint count, const char *typed)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (const MfCommand *command = mf_commands; command->name != NULL; command++) {
    g_auto(GStrv) name = g_strsplit(command->name, " ", -1);
    guint i = 0;
    while (i < count && name[i] != NULL && strcmp(name[i], words[i]) == 0)
      i++;
    if (!command->hidden && i == count && name[i] != NULL &&
        g_hash_table_add(seen, g_strdup(name[i])))
      offer(name[i], typed);
  }
}

static void
offer_options(const MfOption *options, const char *typed)
{
  for (const MfOption *option = options; option != NULL && option->name != NULL; option++) {
    g_autofree char *word = g_strconcat("--", option->name, NULL);
    offer(word, typed);
  }
}

/* The option whose value comes behind @word, or NULL. */
static const MfOption *
expects_value(const MfOption *options, const char *word)
{
  for (const MfOption *option = options; option != NULL && option->name != NULL; option++) {
    gboolean is_long = g_str_has_prefix(word, "--") && strcmp(word + 2, option->name) == 0;
    gboolean is_short =
        word[0] == '-' && word[1] == option->letter && option->letter != 0 && word[2] == '\0';
    if ((is_long || is_short) && option->kind != MF_OPTION_FLAG)
      return option;
  }
  return NULL;
}

static void
offer_value(const MfCommon *common, const MfOption *option, const char *typed)
{
  if (strchr(option->value, '|') != NULL) {
    g_auto(GStrv) words = g_strsplit(option->value, "|", -1);
    for (char **word = words; *word != NULL; word++)
      offer(*word, typed);
  } else if (strcmp(option->value, "TEMPLATE") == 0) {
    offer_kind(common, "template", typed);
  } else if (g_str_has_prefix(option->value, "FILE") || g_str_has_prefix(option->value, "PATH")) {
    offer_kind(common, "file", typed);
  }
}

int
mf_cmd_complete(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  guint count = g_strv_length(argv) - 1; /* words before the one that is typed */
  const char *typed = argv[count];
  guint words = 0;
  g_autofree char *last = g_steal_pointer(&argv[count]);
  const MfCommand *command = count > 0 ? mf_command_find(mf_commands, argv, &words) : NULL;
  if (command == NULL) {
    offer_commands(argv, count, typed);
  } else {
    const char *before = argv[count - 1];
    const MfOption *option = expects_value(command->options, before);
    if (option == NULL)
      option = expects_value(mf_command_common_options(command), before);
    if (option != NULL) {
      offer_value(common, option, typed);
    } else if (typed[0] == '-') {
      offer_options(command->options, typed);
      offer_options(mf_command_common_options(command), typed);
    } else if (g_strcmp0(command->completes, "command") == 0) {
      offer_commands(argv + words, count - words, typed);
    } else {
      offer_kind(common, command->completes, typed);
    }
  }
  argv[count] = g_steal_pointer(&last);
  return MF_EXIT_OK;
}
