// A modal dialog on the browser's own <dialog>: it traps focus, closes on Escape and gives focus back.
import { useEffect, useId, useRef, type ReactNode } from "react";
import { useReader } from "../text/context";
import { Button } from "./button";

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
  actions: ReactNode;
}

export function Dialog({ title, onClose, children, actions }: Props) {
  const { t } = useReader();
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element} className="dialog" aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === element.current) onClose();
      }}
    >
      <div className="dialog-body">
        <header className="dialog-head">
          <h2 id={heading}>{title}</h2>
          <Button kind="quiet" icon="close" onClick={onClose} aria-label={t("action.close")} />
        </header>
        <div className="dialog-content">{children}</div>
        <footer className="dialog-actions">{actions}</footer>
      </div>
    </dialog>
  );
}
