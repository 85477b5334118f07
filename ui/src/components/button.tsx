// The one button: primary for the main deed of a page, plain for the rest, danger for what ends work.
import type { ButtonHTMLAttributes } from "react";
import { Icon, type IconName } from "./icon";

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "primary" | "plain" | "danger" | "quiet";
  icon?: IconName;
  busy?: boolean;
}

export function Button({ kind = "plain", icon, busy = false, children, disabled, className, ...rest }: Props) {
  return (
    <button
      type="button" data-kind={kind} aria-busy={busy || undefined} disabled={disabled || busy}
      className={className ? `button ${className}` : "button"} {...rest}
    >
      {icon ? <Icon name={icon} /> : null}
      {children ? <span>{children}</span> : null}
    </button>
  );
}
