/* SPDX-License-Identifier: Apache-2.0 */

/* Users and their groups: see user.h. */

#include "tools/agent/user.h"

#include "tools/agent/util.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

static bool
parse_uid(const char *text, uid_t *ret_uid)
{
  char *end;
  if (text[0] < '0' || text[0] > '9')
    return false;
  unsigned long long value = strtoull(text, &end, 10);
  if (*end != '\0' || value >= (uid_t)-1)
    return false;
  *ret_uid = (uid_t)value;
  return true;
}

/* A name that looks like a number is looked for as a name first, as chown(1) does. */
static bool
find_entry(const char *name, bool by_uid, uid_t uid, MfUser *user)
{
  FILE *file = fopen("/etc/passwd", "re");
  if (file == NULL)
    return false;
  bool found = false;
  for (struct passwd *entry; !found && (entry = fgetpwent(file)) != NULL;) {
    if (by_uid ? entry->pw_uid != uid : strcmp(entry->pw_name, name) != 0)
      continue;
    found = true;
    *user = (MfUser){
        .uid = entry->pw_uid,
        .gid = entry->pw_gid,
        .name = mf_util_strdup(entry->pw_name),
        .home = mf_util_strdup(entry->pw_dir[0] != '\0' ? entry->pw_dir : "/"),
        .shell = mf_util_strdup(entry->pw_shell[0] != '\0' ? entry->pw_shell : "/bin/sh"),
    };
  }
  fclose(file);
  return found;
}

static void
add_group(MfUser *user, gid_t gid)
{
  for (size_t i = 0; i < user->group_count; i++)
    if (user->groups[i] == gid)
      return;
  user->groups = mf_util_realloc(user->groups, (user->group_count + 1) * sizeof *user->groups);
  user->groups[user->group_count++] = gid;
}

static void
find_groups(MfUser *user)
{
  add_group(user, user->gid);
  FILE *file = fopen("/etc/group", "re");
  if (file == NULL)
    return;
  for (struct group *entry; (entry = fgetgrent(file)) != NULL;)
    for (char **member = entry->gr_mem; *member != NULL; member++)
      if (strcmp(*member, user->name) == 0)
        add_group(user, entry->gr_gid);
  fclose(file);
}

bool
mf_user_find(const char *wanted, MfUser *ret_user, char **ret_error)
{
  uid_t uid = geteuid();
  bool number = wanted == NULL || parse_uid(wanted, &uid);
  bool found = (wanted != NULL && find_entry(wanted, false, 0, ret_user)) ||
               (number && find_entry(NULL, true, uid, ret_user));
  if (!found && wanted != NULL && strcmp(wanted, "root") == 0) {
    uid = 0;
    number = true;
  }
  if (!found && !number) {
    *ret_error = mf_util_printf("there is no user \"%s\" in this machine's /etc/passwd", wanted);
    return false;
  }
  if (!found)
    *ret_user = (MfUser){
        .uid = uid,
        .gid = (gid_t)uid,
        .name = uid == 0 ? mf_util_strdup("root") : mf_util_printf("%u", (unsigned)uid),
        .home = mf_util_strdup("/"),
        .shell = mf_util_strdup("/bin/sh"),
    };
  find_groups(ret_user);
  return true;
}

void
mf_user_clear(MfUser *self)
{
  free(self->name);
  free(self->home);
  free(self->shell);
  free(self->groups);
  memset(self, 0, sizeof *self);
}
