// What an address shows that leads nowhere.
import { PageHead } from "../components/page";
import { Link } from "../router/link";
import { useReader } from "../text/context";

export function NotFoundPage() {
  const { t } = useReader();
  return (
    <>
      <PageHead title={t("app.notfound")} />
      <p>{t("app.notfound.help")} <Link href="/flows">{t("nav.flows")}</Link></p>
    </>
  );
}
